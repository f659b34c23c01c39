<?php

// An ordinary web request that tells one user something, in whichever windows they have open.

declare(strict_types=1);

require __DIR__ . '/../../../php/autoload.php';

session_start(['read_and_close' => true]);
if (!isset($_SESSION['user']) || $_SERVER['REQUEST_METHOD'] !== 'POST') {
    http_response_code(403);
    exit;
}
header('Content-Type: text/plain; charset=utf-8');
$wsgate = new Wsgate\Gateway('unix:' . __DIR__ . '/../control.sock');
$told = $wsgate->sendToUser($_POST['to'], ['from' => $_SESSION['user'], 'text' => $_POST['text']]);
echo match ($told) {
    0 => "{$_POST['to']} has no window open.",
    1 => "{$_POST['to']} was told.",
    default => "{$_POST['to']} was told, in $told windows.",
};
