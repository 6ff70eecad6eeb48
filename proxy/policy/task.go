package policy

import "strings"

// Tasks of Open WebUI that the default rules, or GuessTask, name.
const (
	TaskTitle        = "title_generation"
	TaskTags         = "tags_generation"
	TaskFollowUp     = "follow_up_generation"
	TaskEmoji        = "emoji_generation"
	TaskMemory       = "memory_review"
	TaskAutocomplete = "autocomplete_generation"
	TaskQuery        = "query_generation"
	TaskImagePrompt  = "image_prompt_generation"
)

// TaskMark begins the prompt of Open WebUI's tasks, unless an admin has changed
// the template.
const TaskMark = "### Task:"

// GuessTask names the task of a prompt that begins with TaskMark, by the first
// sentence behind the mark. Empty: it is no task, or one that cannot be told; such
// a request is treated as a person's, which is the safe way to be wrong, for a
// search query that runs before the answer must not wait in the background.
func GuessTask(prompt string) string {
	const enough = 200
	rest, ok := strings.CutPrefix(strings.TrimLeft(prompt[:min(len(prompt), enough)], " \n\r\t"), TaskMark)
	if !ok {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimLeft(rest, " \n\r\t"), "\n")
	switch {
	case containsFold(line, "autocomplet"):
		return TaskAutocomplete
	case containsFold(line, "image"):
		return TaskImagePrompt
	case containsFold(line, "quer"):
		return TaskQuery
	case containsFold(line, "follow-up"), containsFold(line, "follow up"):
		return TaskFollowUp
	case containsFold(line, "title"):
		return TaskTitle
	case containsFold(line, "tags"):
		return TaskTags
	default:
		return ""
	}
}

// containsFold is strings.Contains for an ASCII needle in lower case, whatever
// the case of s, and allocates nothing.
func containsFold(s, needle string) bool {
	for i := 0; i+len(needle) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(needle)], needle) {
			return true
		}
	}
	return false
}
