"""The dialect Pusher, protocol 7: for applications that know Pusher, Reverb or soketi."""
