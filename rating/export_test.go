package rating

// What tests of the package's own rules need.

const (
	BacklogWarning = backlogWarning
	MaxWindows     = maxWindows
)

func Ordinal(v Version) int64 { return v.ordinal() }

func (s *Service) KnownStreams() int {
	s.epochs.mu.Lock()
	defer s.epochs.mu.Unlock()
	return len(s.epochs.known)
}
