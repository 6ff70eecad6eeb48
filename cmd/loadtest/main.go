// Command loadtest puts load on an OpenAI-compatible server and says how it did.
// It sees HTTP only.
package main

import "fairlane/cmd/internal/cli"

type grammar struct {
	Agree    agreeCmd    `cmd:"" help:"Hold the simulator against fairlane with an emulated vLLM: the same workload, shares, waits and throughput within a tenth (a minute and a half)."`
	Article  articleCmd  `cmd:"" help:"A burst, a scan, loops and giant texts against a small GPU: it crashes without fairlane, and with it nothing does."`
	Overtake overtakeCmd `cmd:"" help:"One person floods the server, and then a VIP asks: who waits how long?"`
	Play     playCmd     `cmd:"" help:"Play a workload of the simulator in real time, and show what the simulator says beside it."`
	Twin     twinCmd     `cmd:"" help:"Hold the emulated vLLM against a real one, both behind fairlane: the same workload, shares, waits and throughput (three minutes)."`
}

func command() cli.Command {
	return cli.Command{
		Name:        "loadtest",
		Description: "Puts load on an OpenAI-compatible server, on loopback, for a bounded time.",
		Grammar:     &grammar{},
	}
}

func main() { command().Main() }
