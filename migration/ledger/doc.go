// Package ledger says what a write to a bucket on its way between two stores
// comes to: who decides, what is noted before it is acknowledged, what the caller
// hears. It is arithmetic over outcomes: it never touches a store, metadata, a
// clock or a goroutine.
package ledger
