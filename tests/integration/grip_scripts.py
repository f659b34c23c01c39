"""A chat in the dialect GRIP, twice: in plain PHP by the rules of the wire, and with php-grip.

php-grip (Composer: fanout/grip) is in no package that these tests could install. Where it is, its
`autoload.php` is named by WSGATE_PHP_GRIP_AUTOLOAD.
"""

# What both do: subscribe to the channel of the query, greet, keep a count in Meta, echo. The plain
# one leaves a line for each request in a file beside it.
PLAIN = r"""<?php
function events(string $body): array {
    $events = [];
    for ($at = 0; $at < strlen($body);) {
        $end = strpos($body, "\r\n", $at);
        [$name, $size] = explode(' ', substr($body, $at, $end - $at)) + [1 => null];
        $at = $end + 2;
        $content = null;
        if ($size !== null) {
            $content = substr($body, $at, hexdec($size));
            $at += hexdec($size) + 2;
        }
        $events[] = [$name, $content];
    }
    return $events;
}
function event(string $name, ?string $content = null): string {
    if ($content === null) return "$name\r\n";
    return sprintf("%s %X\r\n%s\r\n", $name, strlen($content), $content);
}
function control(array $what): string {
    return event('TEXT', 'c:' . json_encode($what));
}
$in = events(file_get_contents('php://input'));
$seen = array_filter($_SERVER, fn ($name) => str_starts_with($name, 'HTTP_')
    || in_array($name, ['REQUEST_METHOD', 'CONTENT_TYPE', 'CONTENT_LENGTH']), ARRAY_FILTER_USE_KEY);
file_put_contents(__DIR__ . '/requests', json_encode([
    'events' => array_map(fn ($event) => [$event[0], base64_encode($event[1] ?? '')], $in),
    'server' => $seen,
]) . "\n", FILE_APPEND | LOCK_EX);
$room = $_GET['room'] ?? 'lobby';
if (isset($_GET['refuse'])) {
    http_response_code(403);
    exit('not you');
}
header('Content-Type: application/websocket-events');
$count = (int) ($_SERVER['HTTP_META_COUNT'] ?? 0);
foreach ($in as [$name, $content]) {
    if ($name === 'OPEN') {
        header('Sec-WebSocket-Extensions: grip');
        header('Set-Cookie: seen=1');
        echo event('OPEN'), control(['type' => 'subscribe', 'channel' => $room]);
        echo event('TEXT', "m:welcome to $room");
    } elseif ($name === 'TEXT') {
        header('Set-Meta-Count: ' . ++$count);
        if ($content === 'sleep') usleep(300000);
        if ($content === 'crash') posix_kill(posix_getpid(), 9);
        if ($content === 'break') echo "\nWarning: secret-cause";
        elseif ($content === 'leave') echo control(['type' => 'unsubscribe', 'channel' => $room]);
        elseif ($content === 'bye') echo event('CLOSE', pack('n', 4001) . 'bye');
        else echo event('TEXT', "m:$count $content");
    } elseif ($name === 'BINARY') {
        echo event('BINARY', "m:$content");
    } elseif ($name === 'DISCONNECT') {
        throw new Exception('as php-grip does');
    }
}
"""

WITH_LIBRARY = r"""<?php
require getenv('WSGATE_PHP_GRIP_AUTOLOAD') ?: '{autoload}';
use Fanout\Grip\Data\WebSockets\WebSocketContext;
use Fanout\Grip\Data\WebSockets\WebSocketEvent;
if (isset($_GET['publish'])) exit;
if (!WebSocketContext::is_ws_over_http()) {
    http_response_code(400);
    exit;
}
$context = WebSocketContext::from_req();
$room = $_GET['room'] ?? 'lobby';
if ($context->is_opening()) {
    $context->accept();
    $context->subscribe($room);
    $context->send("welcome to $room");
}
while ($context->can_recv()) {
    $message = $context->recv();
    if ($message === null) {
        $context->close($context->get_close_code());
        file_put_contents(__DIR__ . '/closed', $context->get_close_code() . "\n", FILE_APPEND);
        break;
    }
    if ($message === 'sleep') usleep(300000);
    $context->meta['count'] = strval(($context->meta['count'] ?? 0) + 1);
    if ($message === 'leave') $context->unsubscribe($room);
    elseif ($message === 'bye') $context->close(4001);
    else $context->send($context->meta['count'] . " $message");
}
foreach ($context->to_headers() as $name => $value) header("$name: $value");
echo WebSocketEvent::encode_events($context->get_outgoing_events());
"""

PUBLISH_WITH_LIBRARY = r"""<?php
require getenv('WSGATE_PHP_GRIP_AUTOLOAD') ?: $argv[1];
use Fanout\Grip\Data\WebSockets\WebSocketMessageFormat;
use Fanout\Grip\Engine\Publisher;
[, , $url, $room, $text] = $argv;
$publisher = new Publisher($url);
$publisher->publish_websocket_message($room, $text)->wait();
$publisher->publish_formats($room, new WebSocketMessageFormat(null, true, 4002))->wait();
"""
