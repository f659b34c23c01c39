<?php

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

use Wsgate\Answer;

// The browser sends its session's cookie with the handshake. Read it, and let go of its lock.
session_start(['read_and_close' => true]);

$answer = isset($_SESSION['user'])
    ? Answer::accept()->setUser($_SESSION['user'])
    : Answer::reject(401, 'log in first');
$answer->send();
