package score

// unit is a quarter of the scale, in which the constants are given.
func (s Scale) unit() float64 { return float64(s.Max-s.Min) / 4 }

// prior is what Score.Rank is drawn to, in the upper half of the scale: 3.5 on 1 to 5.
func (s Scale) prior() float64 { return float64(s.Min) + float64(2.5*s.unit()) }

// alone is how much a bucket may pull by itself, in quarters of the scale: 60 in the first hour and
// ever less to 3; 12 on the first full day and ever less to 6.
func alone(bucket int) float64 {
	if bucket < firstDays {
		return max(3, 60/float64(bucket+1))
	}
	return max(6, 24/float64(dayOf(bucket)+1))
}

// dayOf returns the number of a day: 1 for the first day after the hours.
func dayOf(bucket int) int { return bucket - firstDays + 1 }

// season is an interval of day numbers, half-open. The zero season are the hours.
type season struct{ first, last int }

// calendars are the first days of the seasons, before seasons begin every longSeason days.
var calendars = [2][]int{{1, 8, 16, 32, 64, 128}, {1, 4, 12, 24, 48, 96, 192}}

const longSeason = 128

// seasonOf returns the season of a bucket in a calendar.
func seasonOf(bucket, calendar int) season {
	if bucket < firstDays {
		return season{}
	}
	day, starts := dayOf(bucket), calendars[calendar]
	i := len(starts) - 1
	if day >= starts[i] {
		first := day - (day-starts[i])%longSeason
		return season{first, first + longSeason}
	}
	for day < starts[i] {
		i--
	}
	return season{starts[i], starts[i+1]}
}

// length is how many buckets the season counts as: at least 8.
func (s season) length() int {
	if s == (season{}) {
		return firstDays
	}
	return max(8, s.last-s.first)
}

// skipped is how many of the strongest rows say nothing about what is typical.
func (s season) skipped() int {
	if s == (season{}) {
		return firstDays / 2
	}
	return max(4, s.length()/3)
}

// trust is how many times what is typical counts.
func (p Policy) trust(s season) float64 { return 1 + p.Trust/float64(s.length()) }
