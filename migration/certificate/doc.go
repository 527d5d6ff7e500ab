// Package certificate writes and checks the signed statement on which a bucket is
// cut over from another store: what it held, key by key, at one moment, how each
// was proved equal, what was excepted and by whom. Checking needs nothing but the
// files and the signer's public key. It never touches a store or metadata.
//
// docs/format/certificate.md is the format.
package certificate
