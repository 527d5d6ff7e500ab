// Package assess finds out what is in a bucket and what it would mean to move it:
// it fills a catalogue from a listing or from S3 Inventory files, adds it up in
// one pass, prices it, and writes one HTML page that needs nothing else. It reads
// the source and writes the catalogue and the report; it changes neither the
// bucket nor a cell.
package assess
