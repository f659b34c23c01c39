<?php
// "+…" subscribes to one channel, "p…" publishes to it, and "?…" is answered as by echo.php.
$message = file_get_contents('php://input');
header('Content-Type: text/plain');
if ($message[0] === 'p') {
    header('Wsgate-Publish: all');
} else {
    if ($message[0] === '+') {
        header('Wsgate-Subscribe: all');
    }
    $message[0] = '!';
}
echo $message;
