<?php

declare(strict_types=1);

namespace Wsgate;

use Wsgate\Exception\InvalidValue;

/** Signs URLs for routes with the hook `signed_url` (docs/tokens.md): who has one may come in. */
final class UrlSigner
{
    private function __construct(private readonly string $key)
    {
    }

    /**
     * The key in the hook's key_file; of several the first signs, so a new one goes on the first line.
     *
     * @throws InvalidValue there is none that wsgate would take
     */
    public static function fromFile(string $path): self
    {
        $content = @file_get_contents($path);
        if ($content === false) {
            throw new InvalidValue("$path cannot be read");
        }
        foreach (preg_split('/\R/', $content) ?: [] as $line) {
            if (trim($line) !== '') {
                return self::fromKey(trim($line));
            }
        }
        throw new InvalidValue("$path is empty");
    }

    /**
     * @param string $key as a line of key_file: 32 printable characters or more, or base64:…
     * @throws InvalidValue wsgate would not take it
     */
    public static function fromKey(#[\SensitiveParameter] string $key): self
    {
        if (str_starts_with($key, 'base64:')) {
            $key = (string) base64_decode(substr($key, 7), true);
        } elseif (!preg_match('/\A[\x21-\x7e]+\z/', $key)) {
            throw new InvalidValue('a key has printable characters only, or begins with base64:');
        }
        if (strlen($key) < 32) {
            throw new InvalidValue('a key is of 32 bytes or more: openssl rand -hex 32');
        }
        return new self($key);
    }

    /**
     * The path with its query, to be put behind wss://HOST.
     *
     * @param string $path as the client asks for it, encoded: /chat, /rooms/caf%C3%A9
     * @param array<string, string|int> $parameters what the script shall find in $_GET, and can trust
     * @param int $seconds from now on that it is good for; max_lifetime of the hook allows 3600
     * @throws InvalidValue a path that no client could ask for, or a name that has a meaning
     */
    public function sign(string $path, array $parameters = [], int $seconds = 60): string
    {
        if (!preg_match('{\A/[\x21-\x7e]*\z}', $path) || strpbrk($path, '?#"<>\\^`{|}') !== false) {
            throw new InvalidValue("$path is no path of a URL: begin with /, and encode what is odd");
        }
        if (isset($parameters['expires']) || isset($parameters['signature'])) {
            throw new InvalidValue('expires and signature are the last parameters, and come by themselves');
        }
        $url = "$path?" . http_build_query([...$parameters, 'expires' => time() + $seconds]);
        return "$url&signature=" . hash_hmac('sha256', $url, $this->key);
    }
}
