// Package keyfile changes the file of API keys that identity.api_keys.file names.
//
// A key is made here, is returned once, and is nowhere kept: the file has its
// SHA-256. The file is the administrator's, who may write in it by hand, so a change
// touches the lines of one key and leaves comments, order and all other lines as
// they are; only a list in brackets is written anew, as a list of lines.
//
// Whoever changes the file holds a lock on its directory meanwhile: on the file
// itself it would be worth nothing, for the file is replaced as a whole, in one
// step and with mode 0600. It stays its owner's, also where root changes it. What
// would not be read by fairlane is not written.
package keyfile
