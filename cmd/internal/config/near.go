package config

import "strings"

// nearest is the word that was probably meant; empty: none is near.
func nearest(word string, known []string) string {
	best, least := "", len(word)/3+1
	for _, k := range known {
		if plain(k) == plain(word) {
			return k
		}
		if d := distance(plain(word), plain(k)); d < least || d == least && best == "" && d <= 2 && len(word) > 3 {
			best, least = k, d
		}
	}
	return best
}

// plain is a key as somebody might spell it who knows it from hearing.
func plain(s string) string { return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s)) }

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour (optimal string alignment). Long words are far from everything.
func distance(a, b string) int {
	const long = 40
	if len(a) > long || len(b) > long {
		return long
	}
	var before, last, row [long + 1]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
