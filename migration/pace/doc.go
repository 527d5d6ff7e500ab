// Package pace decides how fast a migration goes: how much it may send and ask
// and spend at this hour, how many requests are in flight for a prefix, how long
// to wait after a failure. It does arithmetic: it never sleeps, and the clock and
// chance are arguments.
package pace
