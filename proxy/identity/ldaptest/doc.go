// Package ldaptest has directories for tests: one of this process, which speaks just
// as much LDAP as a look-up of groups needs, and a real slapd where there is one.
// Both hold the same people and groups, and both speak StartTLS.
package ldaptest
