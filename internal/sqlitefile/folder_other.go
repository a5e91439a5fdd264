//go:build !unix

package sqlitefile

// syncFolder does nothing: only Unix opens a folder as a file.
func syncFolder(string) error { return nil }
