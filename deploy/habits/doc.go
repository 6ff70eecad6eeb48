// Package habits tests what no compiler does: that lint reports an import
// through each wall of the house, and that what the Markdown files name, files
// and make targets, is there.
package habits
