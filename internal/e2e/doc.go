// Package e2e holds tests alone: the library as a service uses it, against
// servers that others wrote. Those that start a server carry the build tag e2e
// and fail where Node.js is missing; the vectors in the folder wycheproof need
// nothing but Go.
package e2e
