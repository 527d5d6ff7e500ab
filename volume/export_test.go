package volume

// Queued returns how many requests wait for the disk's writer.
func (d *Disk) Queued() int {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	return len(d.queue.reqs)
}
