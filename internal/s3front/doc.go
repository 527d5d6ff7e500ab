// Package s3front is the S3 front door: it listens, checks signatures, and turns
// S3's calls into calls of package object and S3's words into Holdall's and
// back. The protocol itself is versitygw's; this package owns what that leaves
// open: connections and their limits, access keys, errors, ETags and checksums.
// It never touches blocks or disks, and keeps nothing between calls.
//
// Reading order: front.go (start and stop), listener.go (connections), access.go
// and secret.go (who may), bridge.go (how a call begins and ends), then put.go,
// get.go, copy.go, list.go, upload.go.
package s3front
