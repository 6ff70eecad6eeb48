package proxy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Texts are what Open WebUI shows to somebody who waits. In braces stands what is
// filled in.
type Texts struct {
	Waiting    string // {position}, {time}
	NoEstimate string // {position}: nothing is known of the time
	Longer     string // what was said does not hold any more
	Restarting string // no model server is up

	Seconds, Minutes, Hours string // {n}: what stands for {time}
}

// English are the texts unless they are told otherwise.
func English() Texts {
	return Texts{
		Waiting:    "You are number {position} in the queue, about {time}",
		NoEstimate: "You are number {position} in the queue",
		Longer:     "It takes a little longer",
		Restarting: "The model is restarting; you keep your place in the queue",
		Seconds:    "{n} s", Minutes: "{n} min", Hours: "{n} h",
	}
}

// Chinese are the texts in simplified Chinese.
func Chinese() Texts {
	return Texts{
		Waiting:    "您当前排在第 {position} 位，预计等待约 {time}",
		NoEstimate: "您当前排在第 {position} 位",
		Longer:     "还需要再等一会儿",
		Restarting: "模型正在重启，您的排队位置会保留",
		Seconds:    "{n} 秒", Minutes: "{n} 分钟", Hours: "{n} 小时",
	}
}

// Text is one of the texts, with what may be filled in.
type Text struct {
	Key   string // as the configuration calls it
	Value *string
	may   []string
	must  bool // at least one of them
}

// All are the texts by key, so that they can be read and checked one after the other.
func (t *Texts) All() []Text {
	return []Text{
		{Key: "waiting", Value: &t.Waiting, may: []string{"position", "time"}},
		{Key: "no_estimate", Value: &t.NoEstimate, may: []string{"position"}},
		{Key: "longer", Value: &t.Longer},
		{Key: "restarting", Value: &t.Restarting},
		{Key: "seconds", Value: &t.Seconds, may: []string{"n"}, must: true},
		{Key: "minutes", Value: &t.Minutes, may: []string{"n"}, must: true},
		{Key: "hours", Value: &t.Hours, may: []string{"n"}, must: true},
	}
}

// longestText is in characters: Open WebUI keeps each with the chat.
const longestText = 200

// Wants is what the text has to be, for who wrote another.
func (t Text) Wants() string {
	switch {
	case t.must:
		return "a text with {n}"
	case len(t.may) == 0:
		return "a text"
	default:
		return "a text, in which {" + strings.Join(t.may, "} and {") + "} may stand"
	}
}

// Check says what is wrong with a value for the text; nil: nothing.
func (t Text) Check(value string) error {
	switch n := utf8.RuneCountInString(value); {
	case strings.TrimSpace(value) == "":
		return errors.New("it is empty")
	case n > longestText:
		return fmt.Errorf("it has %d characters, the most is %d", n, longestText)
	}
	for _, brace := range regexp.MustCompile(`\{[^{}]*\}|[{}]`).FindAllString(value, -1) {
		if !slices.Contains(t.may, strings.Trim(brace, "{}")) {
			return fmt.Errorf("there is nothing to fill in for %s", brace)
		}
	}
	if t.must && !strings.Contains(value, "{n}") {
		return errors.New("{n} is missing")
	}
	return nil
}

// validate says which text is wrong, if one is.
func (t Texts) validate() error {
	for _, text := range t.All() {
		if err := text.Check(*text.Value); err != nil {
			return fmt.Errorf("queue_status.language.%s: %w", text.Key, err)
		}
	}
	return nil
}

// place is the text for a position and a time of stepOf; 0: not known.
func (t *Texts) place(position int, eta time.Duration) string {
	at := strconv.Itoa(position)
	if eta == 0 {
		return strings.NewReplacer("{position}", at).Replace(t.NoEstimate)
	}
	return strings.NewReplacer("{position}", at, "{time}", t.time(eta)).Replace(t.Waiting)
}

func (t *Texts) time(d time.Duration) string {
	text, n := t.Seconds, d/time.Second
	switch {
	case d >= time.Hour:
		text, n = t.Hours, d/time.Hour
	case d >= time.Minute:
		text, n = t.Minutes, d/time.Minute
	}
	return strings.ReplaceAll(text, "{n}", strconv.FormatInt(int64(n), 10))
}

// stepOf is the step in which a time is told: an estimate is no more exact than
// that, and who waits wants no number that changes all the time. 0: not known.
func stepOf(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	steps := [...]time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute}
	for _, step := range steps {
		if d <= step {
			return step
		}
	}
	return ceil(d, time.Hour)
}
