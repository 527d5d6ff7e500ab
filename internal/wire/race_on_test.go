//go:build race

package wire

// raceEnabled: sync.Pool drops what it is given, now and then, under the race
// detector, so allocations are not counted.
const raceEnabled = true
