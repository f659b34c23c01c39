"""pusher-js and Laravel Echo, as scripts/setup --tests installs them from npm."""
