<?php

declare(strict_types=1);

namespace Wsgate\Tests;

use Wsgate\Answer;
use Wsgate\Exception\InvalidValue;

test('a text is a text message', function (): void {
    $answer = Answer::text('Grüße');
    same(200, $answer->status());
    same(['Content-Type' => ['text/plain; charset=utf-8']], $answer->headers());
    same('Grüße', $answer->body());
    throws(InvalidValue::class, fn () => Answer::text("\xff"), 'UTF-8');
});

test('JSON is readable JSON', function (): void {
    $answer = Answer::json(['to' => 'https://example.com/é']);
    same(['Content-Type' => ['application/json']], $answer->headers());
    same('{"to":"https://example.com/é"}', $answer->body());
    throws(InvalidValue::class, fn () => Answer::json(NAN), 'JSON');
});

test('bytes are a binary message', function (): void {
    same(['Content-Type' => ['application/octet-stream']], Answer::binary("\0")->headers());
});

test('nothing and accept have no message', function (): void {
    foreach ([Answer::nothing(), Answer::accept()] as $answer) {
        same([204, [], ''], [$answer->status(), $answer->headers(), $answer->body()]);
    }
});

test('a refusal has the status and the text that the client sees', function (): void {
    $answer = Answer::reject(401, 'log in first');
    same([401, 'log in first'], [$answer->status(), $answer->body()]);
    throws(InvalidValue::class, fn () => Answer::reject(200));
    throws(InvalidValue::class, fn () => Answer::reject(302));
});

test('each action is the header of the contract', function (): void {
    $answer = Answer::text('x')
        ->setVariable('room', 'blue; a=b, c')
        ->setVariable('gone', '')
        ->setUser('42')
        ->unsubscribe('old', 'older')
        ->subscribe('room.1')
        ->subscribe('room.2', recover: true)
        ->publish(['room.1', 'room.2'], exceptSelf: true)
        ->close(4001, 'Auf Wiederhören');
    same([
        'Content-Type' => ['text/plain; charset=utf-8'],
        'Wsgate-Set' => ['room=blue; a=b, c', 'gone='],
        'Wsgate-User' => ['42'],
        'Wsgate-Unsubscribe' => ['old', 'older'],
        'Wsgate-Subscribe' => ['room.1', 'room.2; recover'],
        'Wsgate-Publish' => ['room.1, room.2; except-self'],
        'Wsgate-Close' => ['4001 Auf Wiederhören'],
    ], $answer->headers());
    $both = Answer::text('x')->publish('a')->publish('b', exceptSelf: true);
    same(['a', 'b; except-self'], $both->headers()['Wsgate-Publish']);
    same(['Wsgate-User' => ['']], Answer::nothing()->setUser('')->headers());
    same(['Wsgate-Close' => ['1000']], Answer::nothing()->close()->headers());
});

test('of what there can be one only, the last call counts', function (): void {
    $answer = Answer::text('x')->setUser('1')->setUser('2')->close(4000)->close(4001)
        ->subprotocol('one')->subprotocol('two');
    same(['Wsgate-User' => ['2'], 'Wsgate-Close' => ['4001'],
        'Sec-WebSocket-Protocol' => ['two']], array_slice($answer->headers(), 1));
});

test('there must be something to publish, and somebody to publish it to', function (): void {
    throws(InvalidValue::class, fn () => Answer::nothing()->publish('room'), 'message');
    throws(InvalidValue::class, fn () => Answer::text('x')->publish([]), 'channel');
});

test('no value can begin a header of its own', function (): void {
    $answer = Answer::text('x');
    foreach (["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\n", "a\x7f"] as $evil) {
        throws(InvalidValue::class, fn () => $answer->subscribe($evil));
        throws(InvalidValue::class, fn () => $answer->unsubscribe($evil));
        throws(InvalidValue::class, fn () => $answer->publish($evil));
        throws(InvalidValue::class, fn () => $answer->setUser($evil));
        throws(InvalidValue::class, fn () => $answer->setVariable('name', $evil));
        throws(InvalidValue::class, fn () => $answer->setVariable($evil, 'value'));
        throws(InvalidValue::class, fn () => $answer->close(4000, $evil));
        throws(InvalidValue::class, fn () => $answer->subprotocol($evil));
        throws(InvalidValue::class, fn () => $answer->cookie($evil, 'value'));
        throws(InvalidValue::class, fn () => $answer->cookie('name', 'value', ['Path' => $evil]));
        throws(InvalidValue::class, fn () => $answer->cookie('name', 'value', [$evil => 'x']));
    }
    same(['Content-Type' => ['text/plain; charset=utf-8']], $answer->headers());
});

test('names of channels are those of the contract', function (): void {
    foreach (['a', str_repeat('x', 164), 'A-z_0=@.:'] as $good) {
        same(['Wsgate-Subscribe' => [$good]], Answer::nothing()->subscribe($good)->headers());
    }
    foreach (['', str_repeat('x', 165), 'a b', 'a,b', 'a;b', 'ä', 'a/b', "a\n"] as $bad) {
        throws(InvalidValue::class, fn () => Answer::nothing()->subscribe($bad), 'is no channel');
    }
});

test('names of users are printable', function (): void {
    foreach (['0', 'Ada Löve', str_repeat('ü', 128)] as $good) {
        same(['Wsgate-User' => [$good]], Answer::nothing()->setUser($good)->headers());
    }
    foreach ([str_repeat('ü', 129), ' a', 'a ', "a\u{2028}", "\xff", "a\u{85}", "a\u{ad}"] as $bad) {
        throws(InvalidValue::class, fn () => Answer::nothing()->setUser($bad), 'is no user');
    }
});

test('names of variables fit into a name for PHP', function (): void {
    foreach (['', '1a', 'a-b', 'a b', 'a=b', 'ä', str_repeat('x', 65)] as $bad) {
        throws(InvalidValue::class, fn () => Answer::nothing()->setVariable($bad, 'x'));
    }
    foreach ([' x', 'x ', "\t", "\xff", "a\u{a0}b"] as $bad) {
        throws(InvalidValue::class, fn () => Answer::nothing()->setVariable('a', $bad), 'encode it');
    }
});

test('only codes that a server may send close', function (): void {
    foreach ([1000, 1001, 1003, 1007, 1014, 3000, 4999] as $good) {
        same(['Wsgate-Close' => ["$good"]], Answer::nothing()->close($good)->headers());
    }
    foreach ([0, 999, 1004, 1005, 1006, 1015, 2999, 5000] as $bad) {
        throws(InvalidValue::class, fn () => Answer::nothing()->close($bad), 'close code');
    }
    $longest = str_repeat('x', 123);
    same(['Wsgate-Close' => ["4000 $longest"]], Answer::nothing()->close(4000, $longest)->headers());
    throws(InvalidValue::class, fn () => Answer::nothing()->close(4000, str_repeat('é', 62)));
});

test('a cookie is closed to scripts unless told otherwise', function (): void {
    same(
        ['Set-Cookie' => ['id=a%3Bb; Secure; Max-Age=60; Path=/; HttpOnly; SameSite=Lax']],
        Answer::accept()->cookie('id', 'a;b', ['Secure' => true, 'Max-Age' => 60])->headers(),
    );
    same(
        ['Set-Cookie' => ['id=1; HttpOnly; Path=/ws; SameSite=Lax']],
        Answer::accept()->cookie('id', '1', ['HttpOnly' => true, 'Path' => '/ws'])->headers(),
    );
    same(
        ['Set-Cookie' => ['id=1; Path=/; SameSite=Lax']],
        Answer::accept()->cookie('id', '1', ['HttpOnly' => false])->headers(),
    );
    $_SERVER['HTTPS'] = 'on';
    same(
        ['Set-Cookie' => ['id=1; Path=/; HttpOnly; SameSite=Lax; Secure']],
        Answer::accept()->cookie('id', '1')->headers(),
    );
    unset($_SERVER['HTTPS']);
    throws(
        InvalidValue::class,
        fn () => Answer::accept()->cookie('id', '1', ['Path' => '/; Domain=evil']),
        'semicolon',
    );
});

test('a subprotocol is chosen on connect', function (): void {
    same(['Sec-WebSocket-Protocol' => ['chat.v1']], Answer::accept()->subprotocol('chat.v1')->headers());
    throws(InvalidValue::class, fn () => Answer::accept()->subprotocol('a b'), 'token');
});
