package main

import (
	"go/ast"
	"go/token"
)

// documentation asks for a comment on every exported name; where users read
// it, fields and interface methods included. Its form is staticcheck's part.
func documentation(s *source) []string {
	if s.test || s.ast.Name.Name == "main" {
		return nil
	}
	var findings []string
	missing := func(pos token.Pos, name string) {
		findings = append(findings, s.finding(pos, "exported %s is not documented", name))
	}
	for _, decl := range s.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Doc == nil && decl.Name.IsExported() && ast.IsExported(receiver(decl, "Function")) {
				missing(decl.Pos(), decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					// One comment may serve a whole block of constants.
					if decl.Doc != nil || spec.Doc != nil || spec.Comment != nil {
						continue
					}
					for _, name := range spec.Names {
						if name.IsExported() {
							missing(name.Pos(), name.Name)
						}
					}
				case *ast.TypeSpec:
					if !spec.Name.IsExported() {
						continue
					}
					if spec.Doc == nil && (decl.Doc == nil || decl.Lparen.IsValid()) {
						missing(spec.Pos(), spec.Name.Name)
					}
					if !within(s.dir, "internal") { // nobody outside reads those
						members(s, spec, missing)
					}
				}
			}
		}
	}
	return findings
}

// receiver names the type that a method belongs to; a function has none.
func receiver(decl *ast.FuncDecl, none string) string {
	if decl.Recv == nil {
		return none
	}
	t := decl.Recv.List[0].Type
	for {
		switch u := t.(type) {
		case *ast.StarExpr:
			t = u.X
		case *ast.IndexExpr:
			t = u.X
		case *ast.IndexListExpr:
			t = u.X
		case *ast.Ident:
			return u.Name
		default:
			return none
		}
	}
}

// members reports undocumented fields and interface methods. A comment above
// a field serves those that follow it without a blank line, that of an
// interface serves its only method, and that of a type T a field "T T".
func members(s *source, spec *ast.TypeSpec, missing func(token.Pos, string)) {
	var list *ast.FieldList
	switch t := spec.Type.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		if list = t.Methods; list.NumFields() == 1 {
			return
		}
	default:
		return
	}
	line := func(pos token.Pos) int { return s.fset.Position(pos).Line }
	served, end := false, 0
	for _, field := range list.List {
		switch {
		case field.Doc != nil:
			served = true
		case line(field.Pos()) > end+1:
			served = false
		}
		end = line(field.End())
		for _, name := range field.Names {
			if t, ok := field.Type.(*ast.Ident); ok && t.Name == name.Name {
				continue
			}
			if name.IsExported() && !served && field.Comment == nil {
				missing(name.Pos(), spec.Name.Name+"."+name.Name)
			}
		}
	}
}
