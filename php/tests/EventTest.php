<?php

declare(strict_types=1);

namespace Wsgate\Tests;

use Wsgate\Event;
use Wsgate\EventType;
use Wsgate\Exception\InvalidValue;
use Wsgate\Exception\NotFromWsgate;

const ID = '0123456789abcdef0123456789abcdef';

/** @param array<string, string> $more */
function event(string $type, array $more = [], string $body = ''): Event
{
    return Event::from(['WSGATE_EVENT' => $type, 'WSGATE_CONNECTION_ID' => ID] + $more, $body);
}

test('a message has its id, its text and its user', function (): void {
    $event = event('message', [
        'WSGATE_MESSAGE_ID' => ID . ':3',
        'WSGATE_OPCODE' => 'text',
        'WSGATE_USER' => 'Ada Löve',
        'WSGATE_SUBPROTOCOL' => 'chat.v1',
    ], 'Grüße');
    same(EventType::Message, $event->type);
    same(true, $event->isMessage());
    same(ID, $event->connectionId);
    same(ID . ':3', $event->messageId);
    same('Grüße', $event->text());
    same('Grüße', $event->bytes());
    same('Ada Löve', $event->user);
    same('chat.v1', $event->subprotocol);
    same(null, $event->closeCode);
});

test('bytes are not mistaken for text', function (): void {
    $event = event('message', ['WSGATE_OPCODE' => 'binary'], "\xff\0");
    same(true, $event->isBinary);
    same("\xff\0", $event->bytes());
    throws(InvalidValue::class, fn () => $event->text(), 'binary');
});

test('JSON comes as arrays, and what is no JSON is said so', function (): void {
    same(['a' => ['b' => 1]], event('message', [], '{"a":{"b":1}}')->json());
    same(null, event('message', [], 'null')->json());
    throws(InvalidValue::class, fn () => event('message', [], '{')->json(), 'not JSON');
});

test('a connect has no message, and nobody yet', function (): void {
    $event = event('connect');
    same(true, $event->isConnect());
    same(null, $event->user);
    same(null, $event->messageId);
    same('', $event->text());
});

test('a disconnect says how it ended', function (): void {
    $event = event('disconnect', ['WSGATE_CLOSE_CODE' => '1006', 'WSGATE_CLOSE_REASON' => '']);
    same(true, $event->isDisconnect());
    same(1006, $event->closeCode);
    same('', $event->closeReason);
    same([true, 1, null], [$event->wasAccepted, $event->attempt, $event->sequence]);
    $again = event('disconnect', [
        'WSGATE_CLOSE_CODE' => '1006',
        'WSGATE_ACCEPTED' => 'unknown',
        'WSGATE_ATTEMPT' => '2',
        'WSGATE_SEQUENCE' => '1795406400000000',
    ]);
    same([false, 2, 1795406400000000], [$again->wasAccepted, $again->attempt, $again->sequence]);
});

test('variables are found whichever case their name is written in', function (): void {
    $event = event('message', ['WSGATE_VAR_ROOM' => 'blue', 'WSGATE_VAR_' => 'x']);
    same('blue', $event->variable('room'));
    same('blue', $event->variable('ROOM'));
    same(null, $event->variable('other'));
});

test('an ordinary request is no event, whatever its headers say', function (): void {
    throws(NotFromWsgate::class, fn () => Event::from(['REQUEST_METHOD' => 'GET']));
    throws(NotFromWsgate::class, fn () => Event::from(['HTTP_WSGATE_EVENT' => 'message']));
    throws(NotFromWsgate::class, fn () => event('sneeze'));
    throws(NotFromWsgate::class, fn () => Event::fromGlobals());
});
