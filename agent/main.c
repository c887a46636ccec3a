/* The program: finds the verb. */
int main(void)
{
    return 0;
}
