package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// The languages in which people are told that they are refused.
const (
	LanguageEnglish = "en"
	LanguageChinese = "zh"
)

func (s *Server) chinese() bool { return s.status.Load().Language == LanguageChinese }

// worded is a problem in the configured language. What a limit refuses is worded
// where the limit is known, and what only a programmer meets stays English.
func (s *Server) worded(p *scheduler.Problem) *scheduler.Problem {
	if !s.chinese() {
		return p
	}
	text := chineseReason(p.Reason)
	if p.Code == scheduler.CodeQueueTimeout {
		text = "您的请求排队超过了允许的最长时间；请稍后再试。"
	}
	if text == "" {
		return p
	}
	q := *p
	q.Message = text
	return &q
}

// chineseReason says why the queue refused; empty: a limit did, or nothing is known.
func chineseReason(r scheduler.Reason) string {
	switch r {
	case scheduler.ReasonUserQueue:
		return "您排队中的请求太多；请等其中一个完成后再试。"
	case scheduler.ReasonOwnBacklog:
		return "您排在前面的请求太多，这个请求无法及时处理；请稍后再试。"
	case scheduler.ReasonClassQueue, scheduler.ReasonPoolQueue:
		return "目前排队的请求太多；请稍后再试。"
	case scheduler.ReasonDeadline, scheduler.ReasonShed, scheduler.ReasonHold, scheduler.ReasonMemory:
		return "服务器目前繁忙，无法及时处理您的请求；请稍后再试。"
	case scheduler.ReasonNoBackend:
		return "目前没有可用的模型服务器；请稍后再试。"
	case scheduler.ReasonStore, scheduler.ReasonShuttingDown:
		return "服务正在重启；请几秒后再试。"
	default:
		return ""
	}
}

// chineseMessage is message in Chinese.
func (r *refused) chineseMessage(wait time.Duration) string {
	l := r.charge.Limit
	switch r.bucket.Kind {
	case policy.Tokens:
		return fmt.Sprintf("%s%s最多使用 %s 个 token%s；%s后才有此请求所需的额度。", r.chineseWho(), chinesePer(l), grouped(l.N), chineseBurst(l), chineseWords(wait))
	case policy.BySize:
		return fmt.Sprintf("%s的%s%s最多 %s 个%s；%s后%s。", r.chineseWho(), chineseSize(r.size), chinesePer(l), grouped(l.N), chineseBurst(l), chineseWords(wait), r.chineseNext())
	default:
		return fmt.Sprintf("%s%s最多发送 %s 个请求%s；%s后%s。", r.chineseWho(), chinesePer(l), grouped(l.N), chineseBurst(l), chineseWords(wait), r.chineseNext())
	}
}

func (r *refused) chineseTooMuch() string {
	return fmt.Sprintf("此请求按 %s 个请求计算，而限额（%s）一次最多允许 %s 个：请减小 n，或减少一个请求中的提示数量。",
		grouped(r.charge.Cost), r.bucket.Text, grouped(r.charge.Limit.Room()))
}

func (r *refused) chineseWho() string {
	if r.lowered() {
		return "服务器繁忙期间，" + r.chineseWhom()
	}
	return r.chineseWhom()
}

func (r *refused) chineseWhom() string {
	switch {
	case r.bucket.Owner == "":
		return "共用此限额的所有人合计"
	case strings.HasPrefix(r.bucket.Owner, "ip:"):
		return "您的地址"
	default:
		return "您"
	}
}

func (r *refused) chineseNext() string {
	if r.charge.Cost > 1 {
		return "可以再次发送此请求（按 " + grouped(r.charge.Cost) + " 个计算）"
	}
	return "可以发送下一个"
}

func chineseSize(size string) string {
	switch size {
	case policy.SizeHeavy:
		return "重型请求（长文本或长回答）"
	case policy.SizeMedium:
		return "中型请求（较长的文本或回答）"
	default:
		return "轻型请求"
	}
}

func chinesePer(l limit.Limit) string {
	n, unit := l.Per()
	if n == 0 {
		return "每 " + unit + " "
	}
	name := map[string]string{"second": "秒", "minute": "分钟", "hour": "小时", "day": "天", "month": "个月", "year": "年"}[unit]
	if n == 1 {
		return "每" + name
	}
	return "每 " + strconv.FormatInt(n, 10) + " " + name
}

func chineseBurst(l limit.Limit) string {
	if l.Room() == l.N {
		return ""
	}
	return "（一次最多 " + grouped(l.Room()) + " 个）"
}

// chineseWords writes a wait of whole seconds as [scheduler.Words] does.
func chineseWords(d time.Duration) string {
	return strings.NewReplacer(" min", " 分钟", " h", " 小时", " d", " 天", " s", " 秒").Replace(scheduler.Words(d))
}
