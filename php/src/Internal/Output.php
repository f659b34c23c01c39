<?php

declare(strict_types=1);

namespace Wsgate\Internal;

use Wsgate\Exception\AlreadySent;

/**
 * The one answer of this request.
 *
 * @internal
 */
final class Output
{
    private static bool $hasBegun = false;

    /**
     * Send status and headers, before anything else has been said.
     *
     * @param array<string, list<string>> $headers
     * @throws AlreadySent
     */
    public static function begin(int $status, array $headers): void
    {
        if (self::$hasBegun) {
            throw new AlreadySent('this request was answered already');
        }
        if (headers_sent($file, $line)) {
            throw new AlreadySent("the answer began already, at $file:$line");
        }
        // PHP's buffer keeps it from having been sent, not from being a part of the message.
        $printed = (string) ob_get_contents();
        if ($printed !== '') {
            throw new AlreadySent('something was printed before the answer: ' . Check::shown($printed));
        }
        self::$hasBegun = true;
        http_response_code($status);
        foreach ($headers as $name => $values) {
            foreach ($values as $value) {
                // Beside the Set-Cookie of a session; there is one Content-Type.
                header("$name: $value", $name === 'Content-Type');
            }
        }
    }
}
