package limit

import (
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// source is the one script: it takes costs, all or none, or corrects levels. A
// level is the text "at part of", as a mark is, in microseconds of the server.
// Numbers in Lua are whole up to 2^53; all of these stay below. What is divided
// is divided in Go, so that the script only adds and compares. Lua writes a
// number with 14 digits where it is asked for text, hence string.format.
//
// KEYS: the levels. ARGV: take or settle, milliseconds that a full bucket is kept,
// and for each key N, the cost's whole and part, the room's whole and part.
// The answer: who refuses (0: nobody), for how long, and each level's used.
//
//nolint:dupword // blocks of Lua end with end
const source = `
local FURTHEST = 6220800000000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local take = ARGV[1] == 'take'
local keep = tonumber(ARGV[2])
local before, after, refused, longest = {}, {}, 0, 0
for i, key in ipairs(KEYS) do
  local a = 5 * i - 2
  local n, cw, cp = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local w, p = 0, 0
  local at, part, of = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
  if at then
    at, part, of = tonumber(at), tonumber(part), tonumber(of)
    if at >= now then
      w = at - now
      if of == n then p = part elseif part > 0 then w = w + 1 end
    end
  end
  before[2 * i - 1], before[2 * i] = w, p
  if cw ~= 0 or cp ~= 0 then
    w, p = math.min(w, FURTHEST) + cw, p + cp
    if p >= n then w, p = w + 1, p - n elseif p < 0 then w, p = w - 1, p + n end
    if w < 0 then w, p = 0, 0 elseif w >= FURTHEST then w, p = FURTHEST, 0 end
    if take then
      local over, rest = w - tonumber(ARGV[a + 3]), p - tonumber(ARGV[a + 4])
      if rest > 0 then over = over + 1 end
      if over > longest then refused, longest = i, over end
    end
  end
  after[2 * i - 1], after[2 * i] = w, p
end
local told = before
if refused == 0 then
  told = after
  for i, key in ipairs(KEYS) do
    local w, p = after[2 * i - 1], after[2 * i]
    if w == 0 and p == 0 then
      if before[2 * i - 1] > 0 or before[2 * i] > 0 then redis.call('DEL', key) end
    elseif w ~= before[2 * i - 1] or p ~= before[2 * i] then
      redis.call('SET', key, string.format('%.0f %.0f %.0f', now + w, p, tonumber(ARGV[5 * i - 2])), 'PX', math.ceil(w / 1000) + keep)
    end
  end
end
local answer = {refused, longest}
for i = 1, 2 * #KEYS do answer[i + 2] = told[i] end
return answer
`

// The script's two ways.
const (
	take   = "take"
	settle = "settle"
)

// call is one run of the script.
type call struct {
	keys []string
	args []any
	of   []int // the charge of each key
}

// inMicros is a limit whose spans are in microseconds.
func (l Limit) inMicros() Limit {
	l.Period = (l.Period + time.Microsecond - 1) / time.Microsecond
	return l
}

// add puts a charge into a call. A cost below 0 gives back.
func (c *call) add(i int, ch *Charge, cost int64) {
	l := ch.Limit.inMicros()
	sign := int64(1)
	if cost < 0 {
		sign, cost = -1, -cost
	}
	of, room := l.span(cost), l.span(l.Room())
	of.whole = min(of.whole, furthest/int64(time.Microsecond))
	c.keys, c.of = append(c.keys, ch.Key.redis()), append(c.of, i)
	c.args = append(c.args, l.N, sign*of.whole, sign*of.part, room.whole, room.part)
}

// used takes from the answer what has not flowed back yet, in microseconds.
func (c *call) used(to []span, answer []int64) {
	for j, i := range c.of {
		to[i] = span{answer[2+2*j], answer[3+2*j]}
	}
}

// levels are of buckets of which so much is used, in microseconds.
func levels(charges []Charge, used []span) []Level {
	out := make([]Level, len(charges))
	for i := range charges {
		out[i] = charges[i].Limit.inMicros().level(used[i])
		out[i].Reset = time.Duration(int64(out[i].Reset) * int64(time.Microsecond))
	}
	return out
}

// levelPrefix begins the names of levels in Redis.
const levelPrefix = "fairlane:level:"

// tag is what decides in which slot of a cluster a level lies: all of a caller's
// lie in one.
func (k *Key) tag() string {
	if k.Owner == "" {
		return k.Scope
	}
	return k.Owner
}

// redis is the key's name there. Braces in a tag would end it early.
func (k *Key) redis() string {
	var b strings.Builder
	b.WriteString(levelPrefix + "{")
	escapeTag(&b, k.tag())
	b.WriteString("}:")
	if k.Owner == "" {
		b.WriteString("shared:")
	} else {
		b.WriteString("of:" + k.Scope + ":")
	}
	b.WriteString(k.Period.String())
	if k.Nth > 0 {
		b.WriteString(":" + strconv.Itoa(k.Nth))
	}
	return b.String()
}

func escapeTag(to *strings.Builder, tag string) {
	for i := range len(tag) {
		switch c := tag[i]; c {
		case '{', '}', '%':
			to.WriteString("%" + strconv.FormatInt(int64(c), 16))
		default:
			to.WriteByte(c)
		}
	}
}

func newScript(source string) *redis.Script { return redis.NewScript(source) }
