// Package source reads one bucket of an S3 server: its listing, with many walkers
// that resume at their last key; heads, tags and checksums; and bytes, pinned to
// one version and ETag and resumed where a connection broke. It never writes to
// the bucket.
//
// It is the door to the S3 client library. Each attempt at a request is one call
// of that library with its own retries off; when to try again, how many requests
// are in flight for a prefix, and what may be spent, package pace decides.
//
// A 403 is never a 404: ErrNotFound is what the server said in so many words, and
// nothing else becomes it. No error or log of this package holds a credential.
package source
