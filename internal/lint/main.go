// Command lint checks the rules of this repository that no public linter
// knows: who may import what, what the root module may require, and that every
// exported name is documented. It takes no arguments, is run at the top of the
// repository, and prints one finding per line.
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
)

func main() {
	findings, err := check(os.DirFS("."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
}

// source is one parsed Go file and where it stands.
type source struct {
	fset   *token.FileSet
	ast    *ast.File
	dir    string // slash-separated, relative to the top of the repository
	module string // the directory of its go.mod, "." for the root module
	test   bool
}

func (s *source) finding(pos token.Pos, format string, args ...any) string {
	p := s.fset.Position(pos)
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

func check(repo fs.FS) ([]string, error) {
	gomod, err := fs.ReadFile(repo, "go.mod")
	if err != nil {
		return nil, err
	}
	findings := requirements(string(gomod))

	files := 0
	fset := token.NewFileSet()
	err = fs.WalkDir(repo, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && ignored(entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(repo, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := &source{
			fset:   fset,
			ast:    file,
			dir:    path.Dir(name),
			module: moduleOf(repo, path.Dir(name)),
			test:   strings.HasSuffix(name, "_test.go"),
		}
		files++
		findings = append(findings, imports(s)...)
		findings = append(findings, documentation(s)...)
		return nil
	})
	if err == nil && files == 0 {
		err = errors.New("no Go files here")
	}
	return findings, err
}

// ignored tells the directories that the go command passes over, and npm's.
func ignored(dir string) bool {
	return dir == "testdata" || dir == "node_modules" || dir[0] == '.' || dir[0] == '_'
}

func moduleOf(repo fs.FS, dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, err := fs.Stat(repo, path.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	return "."
}

// within reports whether the slash-separated name is tree or lies below it.
func within(name, tree string) bool {
	return name == tree || strings.HasPrefix(name, tree+"/")
}
