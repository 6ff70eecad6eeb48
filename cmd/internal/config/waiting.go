package config

import (
	"time"

	"go.yaml.in/yaml/v3"

	"fairlane/proxy"
)

// queueStatus reads what people see while they wait.
func (c *Config) queueStatus(s *section) {
	s.hot = true
	q := &c.Edge.QueueStatus
	*q = proxy.QueueStatus{Heartbeat: 10 * time.Second, OpenWebUI: true, After: time.Second, Texts: proxy.English()}
	take(s, "heartbeat", &q.Heartbeat, duration(0))
	take(s, "openwebui", &q.OpenWebUI, flag())
	take(s, "after", &q.After, duration(0))
	if n := s.fields["language"]; n != nil && n.Kind == yaml.MappingNode {
		s.in("language", func(own *section) { texts(own, &q.Texts) })
		return
	}
	language := proxy.LanguageEnglish
	take(s, "language", &language, word(proxy.LanguageEnglish, proxy.LanguageChinese))
	if q.Language = language; language == proxy.LanguageChinese {
		q.Texts = proxy.Chinese()
	}
}

// texts reads an admin's own texts. What is not written stays English.
func texts(s *section, to *proxy.Texts) {
	for _, text := range to.All() {
		take(s, text.Key, text.Value, kind[string]{want: text.Wants(), isText: true, parse: func(value string) (string, error) {
			return value, text.Check(value)
		}})
	}
}
