"""Sessions that a real PHP saves: in files, Redis or memcached, by its own extensions."""

import subprocess

ID = "abcdefghij0123456789ABCDEF"

OPTIONS = (
    *("-d", "session.use_cookies=0", "-d", "session.use_strict_mode=0"),
    *("-d", "session.cache_limiter=", "-d", "session.gc_probability=0"),
    # memcached's lock would be held for a session that is written twice.
    *("-d", "memcached.sess_locking=0", "-d", "display_errors=stderr"),
)

HOLDING = """
session_id('%s');
session_start();
$_SESSION['user_id'] = 'nobody yet knows';
echo 'held';
fgets(STDIN);
"""
"""A PHP that holds a session until it is told to go on; it says so."""


def php_command(program, save_path, *options, handler="files"):
    """The words of a PHP that runs `program` with its sessions in `save_path`."""
    return [
        "php",
        *OPTIONS,
        *("-d", f"session.save_handler={handler}", "-d", f"session.save_path={save_path}"),
        *(word for option in options for word in ("-d", option)),
        "-r",
        program,
    ]


def save(session, save_path, *options, handler="files", id=ID):
    """Let PHP save `session`, the inside of a PHP array, under `id`."""
    program = (
        f"session_id('{id}'); session_start() || exit(1);"
        f" $_SESSION = [{session}]; session_write_close() || exit(1);"
    )
    run(program, save_path, *options, handler=handler)


def destroy(save_path, *options, handler="files", id=ID):
    """Log out, as PHP does it."""
    program = f"session_id('{id}'); session_start() && session_destroy() || exit(1);"
    run(program, save_path, *options, handler=handler)


def run(program, save_path, *options, handler="files"):
    """Run PHP to its end; what it says."""
    command = php_command(program, save_path, *options, handler=handler)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    assert not done.stderr, done.stderr
    return done.stdout
