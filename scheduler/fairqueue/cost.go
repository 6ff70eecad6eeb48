package fairqueue

import "math"

// Cost is what a request takes from the GPU, in thousandths of a token: cached
// tokens weigh a tenth by default, which is no integer. Tokens are spent; slots,
// which are returned, are never a Cost.
type Cost = int64

const (
	// Token is the cost of one token of weight 1, and the least that a request
	// is charged.
	Token Cost = 1000
	// mostCost bounds the cost of one request (8.6 million tokens), so that no
	// sum of virtual time overflows.
	mostCost Cost = 1 << 33
)

// Weights turn tokens into cost.
type Weights struct {
	Input  float64 // of a prompt token that is not cached
	Cached float64 // of a prompt token found in the prefix cache
	Output float64 // of a generated token
}

// Input is what is known of a request before it runs.
type Input struct {
	Tokens    int  // of all its prompts together, the cached ones included
	Cached    int  // of Tokens, expected to be found in the prefix cache
	Sequences int  // generated at once, at least 1
	Expected  int  // output tokens of one sequence
	Stream    bool // its progress is seen token by token
}

// Reserve is the charge at dispatch: the prompt, and half of the expected output
// where progress is charged as it streams, for a running request is half served
// on average; all of it where nothing is seen before the end.
func Reserve(w Weights, in Input) Cost {
	out := float64(max(in.Expected, 0)) * float64(max(in.Sequences, 1))
	if in.Stream {
		out /= 2
	}
	return thousandths(w.prompt(in.Tokens, in.Cached) + w.Output*out)
}

// Actual is the cost of tokens that were served: output counts all sequences.
func Actual(w Weights, input, cached, output int) Cost {
	return thousandths(w.prompt(input, cached) + w.Output*float64(max(output, 0)))
}

func (w Weights) prompt(input, cached int) float64 {
	input = max(input, 0)
	cached = min(max(cached, 0), input)
	return w.Input*float64(input-cached) + w.Cached*float64(cached)
}

// thousandths rounds up, but not what is only the error of a float64.
func thousandths(tokens float64) Cost {
	const noise = 1e-6
	x := math.Ceil(tokens*float64(Token) - noise)
	if !(x < float64(mostCost)) { // NaN too
		return mostCost
	}
	return bounded(Cost(max(x, 0)))
}

// bounded is a cost as it may be charged.
func bounded(c Cost) Cost { return min(max(c, Token), mostCost) }
