package sqlitefile

// Waiting returns how many jobs wait for their turn.
func (f *File) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiting) + len(f.long)
}
