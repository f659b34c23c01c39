<?php
// The same answer in Pushpin's WebSocket-over-HTTP: events in, events out.
$events = file_get_contents('php://input');
header('Content-Type: application/websocket-events');
for ($at = 0; ($end = strpos($events, "\r\n", $at)) !== false;) {
    [$type, $length] = explode(' ', substr($events, $at, $end - $at)) + [1 => null];
    $at = $end + 2;
    $content = '';
    if ($length !== null) {
        $content = substr($events, $at, hexdec($length));
        $at += strlen($content) + 2;
    }
    if ($type === 'OPEN') {
        echo "OPEN\r\n";
    } elseif ($type === 'TEXT') {
        $content[0] = '!';
        echo 'TEXT ', dechex(strlen($content)), "\r\n", $content, "\r\n";
    } elseif ($type === 'CLOSE') {
        echo 'CLOSE ', $length, "\r\n", $content, "\r\n";
    }
}
