<?php

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

use Wsgate\{Answer, Event, EventType, Gateway};

$event = Event::fromGlobals();
$room = 'chat.' . $event->variable('room');

/** @return list<string> */
function present(string $room): array
{
    $gateway = new Gateway('unix:' . __DIR__ . '/control.sock');
    return $gateway->channel($room, users: true)->users;
}

function enter(string $name, string $room): Answer
{
    if (!preg_match('/^[\pL\pN ._-]{1,24}$/u', $name) || !preg_match('/^[a-z0-9-]{1,24}$/', $room)) {
        return Answer::reject(400, 'A name and a room are needed.');
    }
    return Answer::json(['joined' => $name])
        ->setUser($name)->setVariable('room', $room)->subscribe("chat.$room")->publish("chat.$room");
}

$answer = match ($event->type) {
    EventType::Connect => enter(trim($_GET['name'] ?? ''), $_GET['room'] ?? ''),
    EventType::Message => $event->text() === ''         // asks who is there
        ? Answer::json(['present' => present($room)])
        : Answer::json(['from' => $event->user, 'text' => $event->text()])->publish($room),
    EventType::Disconnect => in_array($event->user, present($room), true)
        ? Answer::nothing()                             // still there, in another window
        : Answer::json(['left' => $event->user])->publish($room),
};
$answer->send();
