// Package s3test runs a real S3 server, versitygw over a directory, as a child
// process: one that can be killed and started again on the same directory and
// port. It owns the process, its port and its credentials, which are made anew
// for each server; it knows nothing of what is stored there.
//
// The program is pinned in tools/go.mod and built by Go, once, into Go's build
// cache. A test that cannot have it fails and says what to do; it is never
// skipped.
package s3test
