<?php
// As echo.php; who sends the same may be given the same answer without PHP.
$message = file_get_contents('php://input');
$message[0] = '!';
header('Content-Type: text/plain');
header('Cache-Control: public, max-age=3600');
echo $message;
