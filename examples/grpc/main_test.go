package main

// Every call is answered as it ought to be, and the stream ends.
func Example() {
	main()
	// Output:
	// public: <nil>
	// no token: rpc error: code = Unauthenticated desc = the call has no bearer token in its authorization metadata
	// without the scope: rpc error: code = PermissionDenied desc = the access token does not have the scopes or roles that are needed
	// with the scope: <nil>
	// a stream, after a while: rpc error: code = Unauthenticated desc = the access token expired while its stream was open
}
