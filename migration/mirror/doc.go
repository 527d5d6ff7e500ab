// Package mirror writes to the bucket that a migration leaves, which has to stay
// current for as long as there is a way back. It says of each write what is known
// to have become of it: done, refused, or unknown; it decides nothing, tries
// nothing twice, and reads no bytes. Its credentials need to put and delete
// objects, and nothing else.
package mirror
