//go:build !race

package jwtverify_test

const defaultModelSteps = 1_000_000
