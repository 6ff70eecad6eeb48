package vllmsim

import "strconv"

// appendValue appends a parsed JSON value as JSON, its members in their order.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return appendString(dst, []byte(validText(v)))
	case number:
		return append(dst, v...)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, e)
		}
		return append(dst, ']')
	case object:
		dst = append(dst, '{')
		for i, name := range v.names {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, []byte(validText(name)))
			dst = append(dst, ':')
			dst = appendValue(dst, v.members[name])
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// MarshalJSON keeps the order of the members.
func (o object) MarshalJSON() ([]byte, error) { return appendValue(nil, o), nil }

// MarshalJSON writes the number as it came.
func (n number) MarshalJSON() ([]byte, error) { return []byte(n), nil }
