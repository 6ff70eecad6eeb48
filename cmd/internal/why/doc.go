// Package why puts a receipt into words: why a request waited, as somebody can read
// it to the person who asks. One paragraph tells the story in the order in which it
// happened, and a small timeline has the times.
package why
