"""PHP's own sessions: who is logged in, known before PHP is asked."""
