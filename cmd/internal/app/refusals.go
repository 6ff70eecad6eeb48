package app

import (
	"context"

	"fairlane/proxy/refusals"
)

// startRefusals counts who is refused, and tells administrators.
func (a *App) startRefusals(ctx context.Context) (*refusals.Watch, error) {
	cfg := refusals.Config{Bus: a.broker.Refusals(), Claims: a.broker.Refusals(), Metrics: a.reg, Logger: a.log}
	for _, alert := range a.cfg.Alerts {
		cfg.Alerts = append(cfg.Alerts, alert.Told())
	}
	w, err := refusals.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := w.Start(ctx); err != nil {
		return nil, err
	}
	a.onStop(w.Stop)
	return w, nil
}
