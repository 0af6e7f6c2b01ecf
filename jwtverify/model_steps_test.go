//go:build !race

package jwtverify_test

const defaultModelSteps = 2_000_000
