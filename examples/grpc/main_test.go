package main

// Every call is answered as it ought to be, and the stream ends.
func Example() {
	main()
	// Output:
	// public: <nil>
	// no token: rpc error: code = Unauthenticated desc = A bearer token is needed
	// without the scope: rpc error: code = PermissionDenied desc = The access token does not have the scopes or roles that are needed
	// with the scope: <nil>
	// a stream, after a while: rpc error: code = Unauthenticated desc = The access token has expired
}
