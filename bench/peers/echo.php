<?php
// The message comes back with its first byte changed: proof that PHP has seen it.
$message = file_get_contents('php://input');
$message[0] = '!';
header('Content-Type: text/plain');
echo $message;
