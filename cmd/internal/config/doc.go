// Package config turns the configuration file and the environment into what each
// package of the house is configured with.
//
// # Reading
//
// The file is YAML, one document of plain keys: anchors, aliases, merge keys and
// tags are refused, so that what a key says stands where the key stands, and no
// file grows while it is read. A key that is absent or has no value keeps its
// default; a list replaces the default list; a mapping sets the keys that it has.
// So `classes: {vip: {weight: 16}}` changes one weight, and `policy: []` leaves
// only the built-in last rule.
//
// The defaults are those of the packages that use them. This one owns only what
// belongs to nobody else.
//
// # ${…}
//
// A value may hold ${NAME}, ${NAME:-default} (for a variable that is not set or
// empty, as in a shell) and ${file:/run/secrets/x}, whose text counts without the
// newline at its end. They are filled in after the YAML has been read, so that no
// value can add keys. $${ stands for a plain ${.
//
// # What is wrong
//
// All that is wrong is said at once, each with file:line:column and the key's
// path. What the packages find themselves says a path too, and is put back to the
// place that it came from. No message shows the value of a secret, nor what a
// ${…} was filled with.
//
// # Settings
//
// Whatever is read leaves a setting behind: path, resolved value, and whether a
// reload takes it. Describe prints them; Restart compares them. So a new key is
// known to all of them by being read.
package config
