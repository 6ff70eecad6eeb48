package broker

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

const (
	roleWorker     = "fl.wk."
	roleProxy      = "fl.px."
	roleDispatcher = "fl.ds."

	verbGrant  = "a"
	verbCancel = "c"
	verbMuster = "m"

	verbShake  = "s"
	verbBody   = "b"
	verbFrame  = "f"
	verbNotify = "q"
	verbPing   = "ping"

	verbReport = "report"
	verbRecall = "cancel"
	verbBeat   = "beat"
	verbWhere  = "where"

	verbExplain = "explain"
	verbList    = "list"
)

// everyWorker is the name under which all workers are addressed.
const everyWorker = "all"

// validName reports whether s can name a pool or a class: it is part of subjects
// and of the stream's name.
func validName(s string) bool {
	return s != "" && len(s) <= 32 && lowerOrDigit(rune(s[0])) &&
		strings.IndexFunc(s, func(r rune) bool { return !lowerOrDigit(r) && r != '-' && r != '_' }) < 0
}

// validID reports whether s can be one token of a subject.
func validID(s string) bool {
	return s != "" && len(s) <= 128 && s != everyWorker && strings.IndexFunc(s, func(r rune) bool {
		return !lowerOrDigit(r) && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	}) < 0
}

func lowerOrDigit(c rune) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// flowOf is a user in a subject: fixed in length, safe, and without the name.
func flowOf(user string) string {
	sum := sha256.Sum256([]byte(user))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

func streamName(pool string) string { return "FL_" + pool }

func poolSubjects(pool string) string { return fmt.Sprintf("fl.req.%s.*.*", pool) }
